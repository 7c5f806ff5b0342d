//! What is asked of the files of s3s-fs, and what of it is done in another way, since theirs can be seen half done.

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

/// The operations of a client that keeps objects, whole or absent at every moment. Everything else is not implemented.
pub struct Atomic(pub FileSystem);

/// Operations that are passed on as they are.
macro_rules! passed_on {
    ($($operation:ident: $input:ident -> $output:ident),* $(,)?) => {
        #[async_trait]
        impl S3 for Atomic {
            $(async fn $operation(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.0.$operation(request).await
            })*

            async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
                self.copy(request).await
            }
        }
    };
}

passed_on! {
    create_bucket: CreateBucketInput -> CreateBucketOutput,
    head_bucket: HeadBucketInput -> HeadBucketOutput,
    get_object: GetObjectInput -> GetObjectOutput,
    head_object: HeadObjectInput -> HeadObjectOutput,
    put_object: PutObjectInput -> PutObjectOutput,
    delete_object: DeleteObjectInput -> DeleteObjectOutput,
    delete_objects: DeleteObjectsInput -> DeleteObjectsOutput,
    list_objects: ListObjectsInput -> ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input -> ListObjectsV2Output,
    create_multipart_upload: CreateMultipartUploadInput -> CreateMultipartUploadOutput,
    upload_part: UploadPartInput -> UploadPartOutput,
    list_parts: ListPartsInput -> ListPartsOutput,
    complete_multipart_upload: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput -> AbortMultipartUploadOutput,
}

impl Atomic {
    /// A read and a put. The copy of s3s-fs writes into the target itself, where a reader or a kill finds half of it.
    ///
    /// As real servers do, it ignores the condition that the target is absent.
    async fn copy(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopySource::Bucket { bucket, key, .. } = request.input.copy_source.clone() else { return Err(s3_error!(NotImplemented)) };
        let source = GetObjectInput { bucket: bucket.into(), key: key.into(), ..GetObjectInput::default() };
        let found = self.0.get_object(request.clone().map_input(|_| source)).await?.output;
        let (bucket, key, e_tag) = (request.input.bucket.clone(), request.input.key.clone(), found.e_tag.clone());
        let target = PutObjectInput { bucket, key, body: found.body, content_length: found.content_length, ..PutObjectInput::default() };
        self.0.put_object(request.map_input(|_| target)).await?;
        let copied = CopyObjectResult { e_tag, last_modified: found.last_modified, ..CopyObjectResult::default() };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(copied), ..CopyObjectOutput::default() }))
    }
}
